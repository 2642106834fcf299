"""What a file of training rows holds, before anything is measured on it or learnt from it."""
