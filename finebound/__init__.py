"""finebound: how much safety must, may and will a fine-tune cost, and what buys it back?"""
