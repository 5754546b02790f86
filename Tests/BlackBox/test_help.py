"""The help of every command fits a terminal of 80 columns."""

import os
import re
import subprocess

import pytest

from harness.node import binary


def run(*arguments, columns=80):
    done = subprocess.run(
        [binary(), *arguments], capture_output=True, text=True, timeout=30,
        env={k: v for k, v in os.environ.items() if not k.startswith("REALERTIME_")} | {"COLUMNS": str(columns)})
    return done.returncode, done.stdout, done.stderr


def subcommands(*path):
    """Returns the subcommands of a command, from its help. The help also lists a default subcommand by its name."""
    text = run("help", *path)[1]
    found = []
    for section in re.findall(r"SUBCOMMANDS:\n((?:  .*\n|\n(?=  \S))*)", text):
        found += re.findall(r"^  ([a-z]+) ", section, re.MULTILINE)
    return [(*path, name) for name in found if name != "See"]


COMMANDS = [(), *subcommands(), *subcommands("rebalance")]


def test_the_help_lists_every_command():
    assert len(COMMANDS) == 22, COMMANDS


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nothing_is_wider_than_the_terminal(command):
    code, out, err = run("help", *command)
    assert (code, err) == (0, "")
    assert [line for line in out.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_examples_are_not_wrapped_and_paragraphs_are_not_broken(command):
    """A wrapped example could not be pasted. A paragraph with fixed line breaks would be ragged at other widths."""
    overview = run("help", *command, columns=10_000)[1].split("\nUSAGE:")[0].splitlines()
    for line in overview:
        assert not line.startswith(" ") or len(line) < 80, line
    for line, following in zip(overview[1:], overview[2:]):
        assert not line or not following or line.startswith(" ") or following.startswith(" "), (line, following)


@pytest.mark.parametrize("command", [command for command in COMMANDS if len(command) == 1], ids=" ".join)
def test_every_command_has_examples_and_an_exit_status(command):
    out = run("help", *command)[1]
    assert f"\nEXAMPLES:\n  realertime {command[0]}" in out and "\nEXIT STATUS:\n  0 " in out


@pytest.mark.parametrize("arguments", [("publsh", "a", "b"), ("help", "publsh"), ("publsh", "--help"), ("publsh",)], ids=" ".join)
def test_an_unknown_command_is_named(arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (64, "") and "no command 'publsh'" in err and "'publish'" in err, (code, out, err)


def test_load_has_the_option_names_of_the_other_commands():
    """The same option has the same name, variable and default in all commands."""
    def options(command):
        out = run("help", command, columns=10_000)[1]
        return dict(re.findall(r"^  (?:-\w, )?(--[a-z-]+)((?: <[^>]*>)?.*)$", out, re.MULTILINE))
    load, subscribe, publish = options("load"), options("subscribe"), options("publish")
    assert load["--transport"] == subscribe["--transport"]
    # `load` takes several.
    defaults = r"^ <[a-z]+>|\(env: .*\)$"
    assert re.findall(defaults, load["--url"]) == re.findall(defaults, subscribe["--url"]) != []
    for name in ("--api", "--api-token"):
        assert load[name] == publish[name]
    assert "<seconds>" in load["--timeout"] and "<seconds>" in load["--duration"] and "values: table, json; default: table" in load["--output"]
    code, _, err = run("load", "--duration", "0")
    assert code == 64 and "--duration <seconds>': allowed is a number of seconds from 0.001 to 1000000" in err, err
