"""Write results down: tables, plots and pages; takes data, and knows no model and no corpus.

`tables` formats Markdown, `rounding` numbers for JSON. `plots` is the only place that opens matplotlib. `dot_plot` and
`confusions` are pictures of their own. `page` and `page_style` are the frame and the look of an HTML page. Training,
inference and evaluation share all of it; what a report says is decided by them.
"""
