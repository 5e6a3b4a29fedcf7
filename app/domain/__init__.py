"""The pure middle: money, orders, refunds, the decision and the evidence. No I/O, no clock, standard library only."""
