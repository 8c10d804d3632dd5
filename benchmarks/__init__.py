"""What is timed, as ratios in one run: `python -m benchmarks --help`.

Times say more about a machine than about a service. So each measure is taken beside a unit (a
route that does nothing, or the least that could be done with the same bytes), both in every
round, and it is their ratio that is reported, with how far it strayed from round to round.
"""
