"""A report: what was watched, what the guard said, and how good the guard is, in one folder to open and to send.

    write_report         write.py: the files
    |-- data.py          everything a report shows, as frozen dataclasses
    |-- words.py         verdicts, numbers and the finding, as people read them
    |-- themes.py        colours, light and dark
    |-- figures.py       the three pictures, as SVG and PNG                       (imports matplotlib)
    |   |-- figure_trajectories.py, figure_scores.py, figure_rates.py             (each imports matplotlib)
    |   `-- drawing.py   what they share: a sheet in inches, text that fits       (imports matplotlib)
    `-- page.py          the page: template.html, page.css and player.js in one   (imports jinja2)

Needs the extra `report`; matplotlib and jinja2 are imported when a report is written, never before.
"""

from sri_sdk.report.data import Band, Draft, Report, ScoreGroup, Trajectory
from sri_sdk.report.write import write_report

__all__ = ["Band", "Draft", "Report", "ScoreGroup", "Trajectory", "write_report"]
