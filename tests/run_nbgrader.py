"""Hand out, mark and give feedback with nbgrader: python run_nbgrader.py SUBMISSIONS.json, in a course's folder

SUBMISSIONS.json maps a student to the modules that the student wrote. Prints, as JSON, each student's points by cell.
One process calls nbgrader's own commands one after another, so that it is imported once.
"""

import json
import shutil
import sys
from pathlib import Path

from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI, NbGraderApp

app = NbGraderApp()
app.initialize([])  # reads nbgrader_config.py
api = NbGraderAPI(config=app.config)


def call(command, *arguments: str) -> None:
    result = command("coursework1", *arguments)
    assert result["success"], result["log"]


call(api.generate_assignment)
students = json.loads(Path(sys.argv[1]).read_text("utf-8"))
for student, modules in students.items():
    folder = shutil.copytree("release/coursework1", f"submitted/{student}/coursework1")
    for name, source in modules.items():
        Path(folder, "helpers", f"{name}.py").write_text(source, "utf-8")
    call(api.autograde, student)
call(api.generate_feedback)
scores = {}
with Gradebook("sqlite:///gradebook.db") as gradebook:
    for student in students:
        books = gradebook.find_submission("coursework1", student).notebooks
        scores[student] = {grade.cell.name: grade.auto_score for book in books for grade in book.grades}
print(json.dumps(scores))
