"""The paper's network, and the folder on disk that holds an ensemble of them."""
