"""A bill of materials in CycloneDX 1.5 on standard output, from what the build tools say:

    sbom.py crates PACKAGE METADATA TREE LOCK    `cargo metadata`'s and `cargo tree`'s answers and Cargo.lock; what PACKAGE
                                                 links or builds with
    sbom.py buildroot BOARD INFO                 `make show-info`'s answer; what the image of BOARD has or is made with

The same input gives the same bytes: no time, no random serial number.
"""

import json
import sys
import tomllib
import urllib.parse
import uuid


def document(name: str, version: str, components: list[dict], dependencies: dict[str, list[str]]) -> dict:
    reference = f"hindcap:{name}"
    content = json.dumps([name, version, components, dependencies], sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {"component": {"type": "application", "bom-ref": reference, "name": name, "version": version}},
        "components": components,
        "dependencies": [{"ref": reference, "dependsOn": dependencies.pop("", [])}]
        + [{"ref": ref, "dependsOn": sorted(on)} for ref, on in sorted(dependencies.items())],
    }


def crates(package: str, metadata: dict, tree: str, lock: dict) -> dict:
    """What is in `tree`: the metadata also names what only features need that are off."""
    packages = {entry["id"]: entry for entry in metadata["packages"]}
    nodes = {entry["id"]: entry for entry in metadata["resolve"]["nodes"]}
    sums = {(entry["name"], entry["version"]): entry.get("checksum") for entry in lock["package"]}
    built = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    found = {id for id, entry in packages.items() if (entry["name"], "v" + entry["version"]) in built}
    root = next(id for id in metadata["workspace_members"] if packages[id]["name"] == package)
    if len(found) != len(built) or root not in found:
        sys.exit(f"sbom: the tree has {len(built)} crates, the metadata knows {len(found)} of them")

    def needs(id: str) -> list[str]:
        kinds = [(dep["pkg"], {kind["kind"] for kind in dep["dep_kinds"]}) for dep in nodes[id]["deps"]]
        return [pkg for pkg, kind in kinds if kind & {None, "build"} and pkg in found]

    def reference(id: str) -> str:
        return f"pkg:cargo/{packages[id]['name']}@{urllib.parse.quote(packages[id]['version'])}"

    components = []
    for id in sorted(found - {root}, key=reference):
        entry = packages[id]
        component = {"type": "library", "bom-ref": reference(id), "name": entry["name"], "version": entry["version"],
                     "purl": reference(id)}
        if entry["license"]:
            component["licenses"] = [{"expression": entry["license"].replace("/", " OR ")}]
        if sums.get((entry["name"], entry["version"])):
            component["hashes"] = [{"alg": "SHA-256", "content": sums[(entry["name"], entry["version"])]}]
        if entry["repository"]:
            component["externalReferences"] = [{"type": "vcs", "url": entry["repository"]}]
        components.append(component)
    graph = {reference(id): [reference(need) for need in needs(id)] for id in found - {root}}
    graph[""] = sorted(reference(need) for need in needs(root))
    return document(package, packages[root]["version"], components, graph)


def buildroot(board: str, info: dict) -> dict:
    """What goes onto the box, and what on the building machine it is made with; the scope tells them apart."""
    real = {name: entry for name, entry in info.items() if not entry.get("virtual") and entry.get("type") in ("target", "host")}
    components = []
    for name, entry in sorted(real.items()):
        component = {"type": "library", "bom-ref": name, "name": name.removeprefix("host-"), "version": entry.get("version") or "none",
                     "scope": "required" if entry["type"] == "target" and entry.get("install_target") else "excluded"}
        if entry.get("licenses"):
            component["licenses"] = [{"license": {"name": entry["licenses"]}}]
        if entry.get("cpe-id"):
            component["cpe"] = entry["cpe-id"]
        urls = [uri.split("+", 1)[-1] + "/" + download["source"]
                for download in entry.get("downloads", []) for uri in download["uris"][:1] if "://" in uri]
        if urls:
            component["externalReferences"] = [{"type": "distribution", "url": url} for url in urls]
        components.append(component)
    graph = {name: sorted(set(entry["dependencies"]) & set(real)) for name, entry in real.items()}
    graph[""] = sorted(name for name, entry in real.items() if entry["type"] == "target" and entry.get("install_target"))
    return document(board, info["hindcapd"]["version"], components, graph)


def main() -> None:
    kind, name, first, *rest = sys.argv[1:]
    with open(first, encoding="utf-8") as file:
        answer = json.load(file)
    if kind == "crates":
        with open(rest[0], encoding="utf-8") as tree, open(rest[1], "rb") as lock:
            result = crates(name, answer, tree.read(), tomllib.load(lock))
    else:
        result = buildroot(name, answer)
    json.dump(result, sys.stdout, indent=1)
    print()


main()
