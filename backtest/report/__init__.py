"""What a run looks like to people: the table on the terminal, one HTML file that opens offline, and the JSON that machines read.

All three are made from one finished result and change nothing in it. matplotlib and jinja2 are imported when a report is drawn, never before.

    print(render_table(result))
    write_report(result, "reports/cash_and_carry.html")
    write_json(result, "cash_and_carry.json")
"""

from backtest.report.html import render_html, write_report
from backtest.report.json import to_dict, write_json
from backtest.report.protocol import DatasetInfo, Reportable
from backtest.report.table import render_table

__all__ = ["DatasetInfo", "Reportable", "render_html", "render_table", "to_dict", "write_json", "write_report"]
