// Before the first paint: the theme that was chosen here, else the system's.
(() => {
  const chosen = (() => { try { return localStorage.getItem("theme"); } catch { return null; } })();
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
})();
