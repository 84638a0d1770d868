"""Reports, each in one folder to open and to send: of one fit, and of an evaluation.

    write_report         write.py: the files of one fit
    |-- data.py          everything such a report shows, as frozen dataclasses
    |-- words.py         verdicts, numbers and the finding, as people read them
    |-- figures.py       its three pictures, as SVG and PNG                       (imports matplotlib)
    |   `-- figure_trajectories.py, figure_scores.py, figure_rates.py             (each imports matplotlib)
    `-- page.py          its page: template.html                                  (imports jinja2)

    write_evaluation     write_evaluation.py: the files of an evaluation; its records are `sri_sdk.metrics.results`
    |-- evaluation_words.py      the finding, key numbers, what remains of attacks
    |-- evaluation_tables.py, evaluation_samples.py    the numbers behind the figures, as tables.py holds them
    |-- evaluation_figures.py    its pictures                                     (imports matplotlib)
    |   |-- figure_bands.py, figure_maps.py, figure_separation.py                 (each imports matplotlib)
    |   |-- figure_roc.py, figure_costs.py, figure_alarms.py                      (each imports matplotlib)
    |   `-- figure_attacks.py, figure_recovery.py                                 (each imports matplotlib)
    `-- evaluation_page.py       its page: evaluation_sections.py in evaluation.html   (imports jinja2)
    markdown.py          the main tables of an evaluation, for a README

    shared
    |-- themes.py        colours, light and dark
    |-- drawing.py       a sheet in inches, text that fits                        (imports matplotlib)
    |-- panels.py        small multiples, legends                                 (imports matplotlib)
    |-- rendering.py     a figure as bytes                                        (imports matplotlib)
    |-- shell.py         the frame of a page: base.html, macros.html, page.css, player.js (imports jinja2)
    `-- cards.py         one generation, with the player of its drafts

Needs the extra `report`; matplotlib and jinja2 are imported when a report is written, never before.
"""

from sri_sdk.report.data import Band, Draft, Report, ScoreGroup, Trajectory
from sri_sdk.report.write import write_report
from sri_sdk.report.write_evaluation import write_evaluation

__all__ = ["Band", "Draft", "Report", "ScoreGroup", "Trajectory", "write_evaluation", "write_report"]
