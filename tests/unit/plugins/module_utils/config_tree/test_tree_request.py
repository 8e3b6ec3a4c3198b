# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.postoffice.mail.plugins.module_utils.config_tree.errors import ConfigTreeError
from ansible_collections.postoffice.mail.plugins.module_utils.config_tree.request import (
    Request,
    parse_items,
    parse_request,
)


def parse(**options: object) -> Request:
    files = options.pop("files", [{"path": "/etc/x", "content": "x"}])
    return parse_request({"name": "x", "files": json.dumps(files), **options})


def test_a_file_belongs_to_root_and_is_readable_unless_said_otherwise() -> None:
    item = parse().items[0]
    assert (item.owner, item.group, item.mode, item.content) == ("root", "root", 0o644, b"x")


def test_a_directory_can_be_entered_unless_said_otherwise() -> None:
    item = parse(files=[{"path": "/etc/x", "state": "directory"}]).items[0]
    assert (item.kind, item.mode, item.content) == ("directory", 0o755, None)


def test_secrets_join_their_files() -> None:
    request = parse(files=[{"path": "/etc/x", "mode": "0400"}], secrets='{"/etc/x": "p\\"w\\\\\\n"}')
    assert request.items[0].content == b'p"w\\\n'
    assert request.items[0].secret


def test_restart_is_reload_unless_given() -> None:
    assert parse(reload=["a", "b"]).restart == ("a", "b")
    assert parse(reload=["a"], restart=["c"]).restart == ("c",)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("x", "files[0]: must be an object"),
        ({"content": "x"}, "files[0]: path is missing"),
        ({"path": "etc/x", "content": ""}, "is relative"),
        ({"path": "/etc/../x", "content": ""}, "written plainly"),
        ({"path": "/etc//x", "content": ""}, "written plainly"),
        ({"path": "//etc/x", "content": ""}, "written plainly"),
        ({"path": "/etc/x/", "content": ""}, "written plainly"),
        ({"path": "/", "state": "directory"}, "written plainly"),
        ({"path": "/etc/x\ny", "content": ""}, "cannot be printed"),
        ({"path": "/proc/x", "content": ""}, "not a place for configuration"),
        ({"path": "/etc/x", "content": "", "mode": 420}, "files[0] (/etc/x): mode arrived as the number 420"),
        ({"path": "/etc/x", "content": "", "mode": "u=rw"}, "octal digits in quotes"),
        ({"path": "/etc/x", "content": "", "mode": "0888"}, "octal digits in quotes"),
        ({"path": "/etc/x", "content": "", "owner": 0}, "owner must be a name"),
        ({"path": "/etc/x", "content": "", "group": ""}, "group must be a name"),
        ({"path": "/etc/x", "content": None}, "the template rendered nothing"),
        ({"path": "/etc/x", "content": 5}, "must be text, not int"),
        ({"path": "/etc/x", "content": "\ud800"}, "UTF-8"),
        ({"path": "/etc/x"}, "content is missing"),
        ({"path": "/etc/x", "content": "", "state": "absent"}, "state must be file or directory"),
        ({"path": "/etc/x", "content": "", "state": "directory"}, "a directory has no content"),
        ({"path": "/etc/x", "content": "", "last": "yes"}, "last must be true or false"),
        ({"path": "/etc/x", "content": "", "restart": 1}, "restart must be true or false"),
        ({"path": "/etc/x", "content": "", "notify": "x", "dest": "y"}, "unknown field dest, notify"),
    ],
)
def test_what_cannot_be_a_file_is_refused_with_its_place(entry: object, said: str) -> None:
    with pytest.raises(ConfigTreeError, match=r"files\[0\]") as error:
        parse(files=[entry])
    assert said in str(error.value)


def test_the_same_path_twice_is_refused_with_both_places() -> None:
    with pytest.raises(ConfigTreeError, match=r"files\[2\] \(/etc/x\): the same path as files\[0\] \(/etc/x\)"):
        parse(files=[{"path": path, "content": ""} for path in ("/etc/x", "/etc/y", "/etc/x")])


def test_a_path_below_a_file_is_refused() -> None:
    with pytest.raises(ConfigTreeError, match=r"files\[0\] \(/etc/x/y/z\): lies below files\[1\] \(/etc/x\)"):
        parse(files=[{"path": "/etc/x/y/z", "content": ""}, {"path": "/etc/x", "content": ""}])


def test_a_secret_without_a_file_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigTreeError, match="/etc/y is not among files") as error:
        parse(secrets='{"/etc/y": "hunter2"}')
    assert "hunter2" not in str(error.value)


def test_a_content_in_both_places_is_refused() -> None:
    with pytest.raises(ConfigTreeError, match="in files and in secrets"):
        parse(secrets='{"/etc/x": "hunter2"}')


def test_text_that_is_not_json_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigTreeError, match="secrets: is not JSON") as error:
        parse(secrets='{"/etc/x": hunter2')
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "../x"}, "is not a name"),
        ({"name": ""}, "is not a name"),
        ({"reload": ["systemctl reload x"]}, "as a list"),
        ({"reload": [True]}, "reload: must be a list"),
        ({"check": [["a"], []]}, r"check[1]: must be a list"),
        ({"check": [["a", {}]]}, r"check[0]: must be a list"),
        ({"watch": ["cert.pem"]}, "watch[0]: path 'cert.pem' is relative"),
        ({"probe_timeout": 0}, "probe_timeout"),
        ({"age": -1}, "age"),
        ({"files": {}}, "files: must be a JSON list"),
        ({"secrets": "[]"}, "secrets: must be a JSON object"),
    ],
)
def test_other_options_are_refused_by_name(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigTreeError) as error:
        parse(**options)
    assert said in str(error.value)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
FIELDS = st.sampled_from(["path", "content", "owner", "group", "mode", "state", "restart", "last", "other"])


@given(st.lists(st.dictionaries(FIELDS, ANYTHING | st.sampled_from(["/etc/x", "0644", "directory"]))), ANYTHING)
def test_any_input_is_parsed_or_refused_in_words(files: list[object], secrets: object) -> None:
    try:
        items = parse_items(files, secrets)
    except ConfigTreeError:
        return
    assert len(items) == len(files)
