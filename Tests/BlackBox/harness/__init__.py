"""What the black-box tests share: a real node process, and clients that speak bytes."""
