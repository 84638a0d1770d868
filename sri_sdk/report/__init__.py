"""Reports, each in one folder to open and to send: of one fit, and of an evaluation.

    write.py                 the files of both
    |-- fit_page.py          the page of a fit: data.py in fit.html                       (imports jinja2)
    |-- fit_figures.py       its figures                                                  (imports matplotlib)
    |-- evaluation_page.py   the page of an evaluation: evaluation_sections.py in evaluation.html   (imports jinja2)
    |-- evaluation_figures.py    its figures                                              (imports matplotlib)
    |-- evaluation_words.py, evaluation_tables.py, curve_tables.py    what it says, and the numbers behind its figures
    `-- markdown.py          its main tables, for a README

    shared
    |-- drawing.py           a figure, described once, as files in two themes and widths  (imports matplotlib)
    |-- charts.py, looks.py  axes and marks that figures share; colours, dashes, markers
    |-- shell.py             the frame of a page: base.html, macros.html, page.css, player.js   (imports jinja2)
    |-- cards.py             one generation, with the player of its drafts
    `-- words.py             verdicts, numbers and the finding of a fit, as people read them

Needs the extra `report`; matplotlib and jinja2 are imported when a report is written, never before.
"""

from sri_sdk.report.data import Draft, Report, ScoreGroup, Trajectory
from sri_sdk.report.write import write_evaluation, write_report

__all__ = ["Draft", "Report", "ScoreGroup", "Trajectory", "write_evaluation", "write_report"]
