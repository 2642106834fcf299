"""How a coarse unroll (T20) is best built: thousands of toy fine-tunes and their forecasts."""
