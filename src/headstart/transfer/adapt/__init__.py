"""Adapting a backbone to a domain from unlabelled examples, before it is fine-tuned.

adaptation                       kept by what went into it, computed once
text  image                      masked-language pretraining that goes on; BatchNorm statistics taken anew
pretraining  rounds  masking     the loop for texts, what passes in each round, which words are hidden
"""
