// The operator's verdict: a small dialog that asks for a note and a name.
import { by, make } from "./dom.js";
import { post, tell } from "./store.js";

const WORDS = { keep: "Keep it as it is", restore: "Restore it", retake: "Take it again" };
const dialog = by("word");

function remembered() { try { return localStorage.getItem("name") ?? ""; } catch { return ""; } }

export function ask(key, verdict) {
  const name = make("input", { type: "text", name: "by", required: true, maxlength: 80, autocomplete: "name" });
  const note = make("textarea", { name: "note", rows: 2, maxlength: 2000 }), error = make("p", { class: "error", role: "alert" });
  name.value = remembered();
  const form = make("form", { method: "dialog" }, make("h2", { id: "wordtitle" }, WORDS[verdict]), make("p", { class: "quiet" }, key),
    make("label", {}, "Note", note), make("label", {}, "Your name", name), error,
    make("div", { class: "buttons" }, make("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), make("button", { class: "main" }, WORDS[verdict])));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const tile = await post("override", { key, verdict, note: note.value, by: name.value });
      try { localStorage.setItem("name", name.value.trim()); } catch { /* private windows keep nothing */ }
      dialog.close();
      tell("said", tile);
    } catch (problem) {
      error.textContent = problem.message;
    }
  });
  note.addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); form.requestSubmit(); } });
  dialog.replaceChildren(form);
  dialog.showModal();
  (name.value ? note : name).focus();
}
