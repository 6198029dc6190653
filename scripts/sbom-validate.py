"""Has the CycloneDX project's own library validate the files named, strictly."""

import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        problem = JsonStrictValidator(SchemaVersion.V1_5).validate_str(file.read())
    if problem is not None:
        sys.exit(f"{path}: {problem}"[:2000])
print(f"{len(sys.argv) - 1} files are valid CycloneDX 1.5")
