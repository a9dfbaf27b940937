"""The paper's cross-fold ensemble: from a CT to a mask and where its folds disagree."""
