"""`bidkit report`: what the experiments measured, as one HTML page and one Markdown file.

results  (raw files)  ->  contention | fan_out | resilience  ->  document  ->  page | markdown
Only `drawing` and the `plots` modules need matplotlib; nothing imports them before it is needed.
"""
