"""Methods compared on specimens, at several shares of labels and seeds.

plan         what is compared, as one flat frozen document; the runs that it expands to
specimens    folders of pairs to learn from and to score on, made where none were measured
conduct      trains and scores every run that is not finished
tables       mean and spread over seeds, gains at equal seeds
"""
