"""What `chargepin tour` and `chargepin demo` do: the maker's article, step by step, and its world.

`touring` has the steps in order, `steps_*` what each does and looks at, `tale` what they share.
`world` is where they take place; `world_programs` makes one of real programs, `forks` those that
people type. `doors`, `stock_phone` and `overheard` are for strangers: they try, pair and listen.
"""
