"""What a trained model is worth: masks against labels, and how sure the means are."""
