"""Answers of a model to an evaluation set: the record, the models that can be asked, and judgements."""
