"""Methods compared on specimens, at several shares of labels and seeds.

plan         what is compared, as one flat frozen document; the runs that it expands to
specimens    folders of pairs for training and scoring, made where none were measured
runner       trains and scores every run that is not finished
tables       mean and spread over seeds, gains at equal seeds
"""
