"""The report about an extension over the API."""

from modules import paths_internal, shared

ROUTE = "/serena/v1/extensions/check"


def test_an_installed_one_by_its_name(client, tmp_path, monkeypatch):
    scripts = tmp_path / "mine" / "scripts"
    scripts.mkdir(parents=True)
    (scripts / "a.py").write_text("import no_such_package\nfrom modules import scripts\n")
    monkeypatch.setattr(paths_internal, "extensions_dir", str(tmp_path))
    report = client.post(ROUTE, json={"source": "mine"}).json()
    assert report["name"] == "mine" and report["loads"] is False
    assert {use["name"]: use["state"] for use in report["files"][0]["uses"]} == {
        "no_such_package": "missing",
        "modules.scripts": "here",
    }


def test_a_path_is_no_name(client, tmp_path, monkeypatch):
    monkeypatch.setattr(paths_internal, "extensions_dir", str(tmp_path))
    answer = client.post(ROUTE, json={"source": "../.."})
    assert answer.status_code == 422 and answer.json()["field"] == "source"


def test_a_server_open_to_others_clones_nothing(client, monkeypatch):
    monkeypatch.setattr(shared.cmd_opts, "disable_extension_access", True)
    answer = client.post(ROUTE, json={"source": "https://127.0.0.1:9/x"})
    assert answer.status_code == 422 and "--enable-insecure-extension-access" in answer.json()["detail"]
