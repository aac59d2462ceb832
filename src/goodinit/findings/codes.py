"""The table of codes; docs/findings.md has a section for each.

====== ======== ====================================================================
code   severity what
====== ======== ====================================================================
GI101  error    a call returns NaN or infinite values
GI102  warning  the signal vanishes between two norms, or without any (an error below 1e-12)
GI103  warning  the signal explodes there (an error above 1e12)
GI104  warning  outputs hardly depend on the inputs
GI105  warning  the positions of a sample become alike
GI106  warning  most units of a layer are dead
GI107  warning  most values of a layer are saturated
GI108  warning  the gradient vanishes or explodes on its way back (an error beyond 1e12)
GI109  info     no gradient arrives at a parameter (a warning if a comparison cuts it off)
GI110  warning  a first cross-entropy far above that of a blind guess
GI111  warning  the weight of a norm lies around 0 instead of 1
GI112  warning  an output projection, or an embedding tied with one, is drawn too large
GI113  info     rules depend on what only the data flow shows, and there was none (a warning if the
                model has no weights and needs values to run)
GI114  info     a rule matched, but later rules won everywhere
GI115  info     names in ``keep`` that the model doesn't have (an error if it is a prefix)
GI116  warning  a parametrization changed the values that were written through it
GI117  info     no rule knows this kind of parameter, and it is left unchanged (a warning if its
                module is quantized)
GI118  warning  new rows are drawn with another std than the checkpoint's rows
GI119  info     parameters keep the value that their class gave them, or are on meta and need it
GI120  error    values that are NaN or infinite
GI121  error    values that look like uninitialized memory (a warning if they are tiny)
GI122  error    a weight is all zero, and no gradient ever reaches it (less if one does)
GI123  error    units that do the same, and whose gradients are the same (else a warning); some
                of a layer's units repeat others (a warning; info if they look trained)
GI124  warning  layers with equal weights, bit for bit (info for copies of whole modules, and for
                stacks that look trained)
GI125  warning  by its weights a chain of layers loses the signal (info down to a millionth)
GI126  warning  by its weights a chain of layers makes the signal explode (info up to a million)
GI127  info     a gain that doesn't fit the activation before the layer
GI128  info     forget gates whose biases start near 0
GI129  warning  the row of a table that stands for padding isn't zero
GI130  warning  weight_norm discarded the scale that was written
GI131  warning  values that were clamped, or a few far outside of their law
GI132  warning  more than 90 % of a layer's second moment comes from its bias (info if intended)
GI133  info     a std by the fans that torch computes from the shape; the layer has others
GI134  warning  weights whose mean isn't 0
GI135  warning  activations whose variance map has no stable fixed point, over many layers
GI136  warning  a plain stack of more layers than its activation allows
GI137  warning  values that a parameter's dtype can't hold, or that aren't weights (an error if
                they become infinite)
GI138  warning  frozen parameters are drawn (info if a rule names them, or if all are frozen)
GI139  warning  nothing was measured: no call depends on the inputs
GI140  warning  the model looks like one process's part of a larger one
GI141  info     a family's recipe has rules for layers that the model doesn't have
GI142  warning  attention that looks at one position alone
GI143  warning  a loss gets logits that are squashed already, or cut off
GI144  warning  a norm leaves nothing of its input
GI150  warning  one prior for the biases of several heads
GI151  warning  what muP asks for and no draw can do (info where it isn't known)
====== ======== ====================================================================
"""
