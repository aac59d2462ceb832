"""The table of codes; docs/findings.md has a section for each.

====== ======== ====================================================================
code   severity what
====== ======== ====================================================================
GI101  error    a call returns NaN or infinite values
GI102  warning  the signal vanishes between two norms, or without any (an error below 1e-12)
GI103  warning  the signal explodes there (an error above 1e12)
GI104  warning  outputs that hardly depend on the inputs
GI105  warning  the positions of a sample become alike
GI106  warning  most units of a layer are dead
GI107  warning  most values of a layer are saturated
GI108  warning  the gradient vanishes or explodes on its way back (an error beyond 1e12)
GI109  info     a parameter that no gradient arrives at
GI110  warning  a first cross-entropy far above that of a blind guess
GI111  warning  the weight of a norm is drawn around 0 instead of 1
GI112  warning  an embedding tied with an output projection is drawn too large
GI113  info     rules ask for what only a data flow shows, and there was none (a warning without
                weights, where the model asks for values)
GI114  info     a rule matched, and later rules won everywhere
GI115  info     names in ``keep`` that the model doesn't have
GI116  warning  a parametrization changed the values that were written through it
GI117  info     a parameter that nothing is known of was left as it is
GI118  warning  new rows are drawn on another scale than those that a checkpoint brings
GI120  error    values that are NaN or infinite
GI121  error    values such as uninitialised memory holds (a warning if they are tiny)
GI122  error    weights that are all zero where that keeps units from learning (less if it may not)
GI123  error    weights that are the same for every unit, in layer after layer (else a warning)
GI124  warning  layers that are bit for bit alike
GI125  warning  the signal's second moment is lost over the depth (info down to a millionth)
GI126  warning  the signal's second moment explodes over the depth (info up to a million)
GI127  info     a gain that doesn't fit the activation before the layer
GI128  info     forget gates whose biases start near 0
GI129  warning  the row of a table that stands for padding isn't zero
GI130  warning  weight_norm dropped the scale that was written
GI131  warning  values that were clamped, or lie impossibly far out
GI132  warning  a bias that is larger than what its weight passes on
GI133  info     a law by the fans that torch reads off a shape, where the layer has others
GI134  warning  weights whose values lie around another number than 0
GI135  warning  activations whose variance map has no stable fixed point, over many layers
====== ======== ====================================================================
"""
