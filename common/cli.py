"""The command line: `replicate VERB ...`. Parses, calls the verb, prints for a person or as JSON."""

import argparse
import json
import os
import re
import sys
from typing import Any, NoReturn

from common.errors import Problem, nearest

VERBS = ("list", "plan", "run", "status", "cancel", "figures", "claims", "report", "select", "show", "data")


class _Parser(argparse.ArgumentParser):
    """argparse whose errors are Problems, with the nearest valid name."""

    def error(self, message: str) -> NoReturn:
        # "argument --tier: invalid choice: 'smal' (choose from 'smoke', 'small', 'full')", quoted or not by version
        choice = re.match(r"argument (\S+): invalid choice: '(.*)' \(choose from (.*)\)", message)
        if choice:
            what, given, names = choice.groups()
            if what in ("verb", "VERB"):
                raise Problem(f"There is no verb '{given}'.{nearest(given, VERBS)} Verbs: {', '.join(VERBS)}.")
            allowed = names.replace("'", "").split(", ")
            raise Problem(f"{what} is '{given}'.{nearest(given, allowed)} Allowed: {', '.join(allowed)}.")
        raise Problem(f"{message}. See: {self.prog} --help.")


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = _Parser(prog="replicate", description="Replicates papers of continual learning: from a spec to a verdict.")
    top.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)

    def verb(name: str, text: str, target: bool = True) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=text, description=text)
        sub.add_argument("--debug", action="store_true", help=argparse.SUPPRESS, default=argparse.SUPPRESS)
        if target:
            sub.add_argument("target", help="all, PAPER or PAPER/SPEC")
            whole = name in ("status", "cancel", "figures", "claims")
            which = "default: every tier" if whole else "default: smoke"
            sub.add_argument("--tier", choices=("smoke", "small", "full"), default=None, help=which)
            sub.add_argument(
                "overrides", nargs="*", metavar="key=value", help="settings of the runs, such as learner.alpha=0.3"
            )
        sub.add_argument("--json", action="store_true", help="print one JSON value for scripts")
        return sub

    verb("list", "papers, specs, tiers, claims and the data sets that are present", target=False)
    planned = verb("plan", "what would run, its time and memory, and every problem at once; nothing runs")
    runs = verb("run", "run what is missing, resume what was interrupted, then figures and verdicts")
    state = verb("status", "state, progress, time left, host and last error of every run")
    ended = verb("cancel", "end the jobs of a target on the cluster; what they did is kept")
    drawn = verb("figures", "make figures and tables anew from the stored traces")
    judged = verb("claims", "the verdict on every claim")
    judged.add_argument(
        "--write", action="store_true", help="also lock new claims and put the verdicts into README files"
    )
    for sub in (planned, runs, state, ended, drawn, judged):
        sub.add_argument("--seeds", help="0-4 or 0,1,2 instead of the specs' own")
        sub.add_argument("--case", help="only this case of the specs, such as ER")
    chosen = verb("select", "choose hyper-parameters on held-out training images; the reporting specs take them")
    for sub in (runs, chosen):
        sub.add_argument("--workers", type=int, help="processes (default: one a GPU, where none is used one a core)")
        sub.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    for sub in (planned, runs, chosen):
        sub.add_argument(
            "--together", default="auto", help="small runs carried out as one batch: auto, off, or most of them"
        )
    runs.add_argument("--on", choices=("local", "slurm"), default="local", help="this machine (default), or a cluster")
    runs.add_argument("--profile", help="what to ask the cluster for: a name in slurm/, or a YAML file")
    runs.add_argument("--wait", action="store_true", help="stay until the cluster is done, then figures and verdicts")
    runs.add_argument("--dry-run", action="store_true", help="print the batch scripts; nothing is submitted")
    page = verb("report", "one HTML file with every verdict, figure and table that is stored", target=False)
    page.add_argument("target", nargs="?", default="all", help="all (default), PAPER or PAPER/SPEC")
    page.add_argument("--tier", choices=("smoke", "small", "full"), default=None)
    page.add_argument("-o", "--output", default="report.html", metavar="FILE", help="default: report.html, here")
    shown = verb("show", "where a run or a figure came from, and the command that makes it again", target=False)
    shown.add_argument("what", help="a run id (or its beginning) or a figure file")
    sets = verb("data", "data sets: list them, get one, check one", target=False)
    sets.add_argument("action", choices=("list", "get", "check"))
    sets.add_argument("name", nargs="?", help="a data set")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 done, 1 something failed or was refused, 130 stopped by the user."""
    words = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in words
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a method of your own is found in the folder you stand in
    try:
        # overrides may stand before or after options: argparse alone would refuse `run x --tier small a=1`
        options, rest = parser().parse_known_args(words)
        stray = [w for w in rest if w.startswith("-")]
        if stray or (rest and not hasattr(options, "overrides")):
            raise Problem(f"'{(stray or rest)[0]}' is no option here. See: replicate {options.verb} --help.")
        if rest:
            options.overrides += rest
        return _dispatch(options)
    except Problem as problem:
        if debug:
            raise
        print("\n".join(f"error: {message}" for message in problem.messages), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on where it was", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:
        if debug:
            raise
        print(
            f"error: {type(error).__name__}: {error}. This is a fault of replicate; --debug shows where.",
            file=sys.stderr,
        )
        return 1


def _dispatch(options: argparse.Namespace) -> int:
    from common import show, verbs

    def say(value: Any, text: Any) -> None:
        print(json.dumps(value, indent=1, sort_keys=True, default=str) if options.json else text(value))

    if options.verb == "list":
        say(verbs.list_all(), show.listing)
    elif options.verb == "show":
        say(verbs.show(options.what), show.origin)
    elif options.verb == "report":
        say(verbs.report(options.target, options.tier, options.output), show.reported)
    elif options.verb == "data":
        return _data(options, say)
    else:
        return _target(options, say)
    return 0


def _target(options: argparse.Namespace, say: Any) -> int:
    from common import show, targets, together, verbs, words

    over = words.parse_overrides(options.overrides)
    if options.verb == "select":
        if over:
            raise Problem(
                f"select takes no overrides, but was given {' '.join(options.overrides)}: they would not be stored."
            )
        say(verbs.select(options.target, options.tier or "smoke", _settings(options), options.json), show.selection)
        return 0
    seeds = words.seed_list(options.seeds) if options.seeds is not None else None
    if seeds is not None and "seed" in over:
        raise Problem(f"seed={over['seed']} and --seeds {options.seeds} both say which seeds. Give one of the two.")
    asked = (over, seeds, options.case)
    if options.verb in ("status", "cancel", "figures", "claims"):
        sys.stderr.writelines(f"{line.strip()}\n" for line in show.left_out(targets.left_out(options.target)))
    if options.verb == "plan":
        say(verbs.plan(options.target, options.tier or "smoke", *asked, together.how(options.together)), show.plan)
    elif options.verb == "status":
        say(verbs.status(options.target, options.tier, *asked), show.status)
    elif options.verb == "cancel":
        say(verbs.cancel(options.target, options.tier, *asked), show.cancelled)
    elif options.verb == "figures":
        say(verbs.figures(options.target, options.tier, *asked, quiet=options.json), show.drawn)
    elif options.verb == "claims":
        say(verbs.claims(options.target, options.tier, *asked), show.verdicts)
        if options.write:
            told = show.written(verbs.write_verdicts(options.target))
            print(told, file=sys.stderr if options.json else sys.stdout)
    else:
        return _run(options, asked, say)
    return 0


def _settings(options: argparse.Namespace) -> Any:
    from common import together
    from common.outcome import Settings

    if options.workers is not None and options.workers < 1:
        raise Problem(f"--workers is {options.workers}, but must be at least 1.")
    return Settings(workers=options.workers, device=options.device, together=together.how(options.together))


def _run(options: argparse.Namespace, asked: tuple[Any, Any, Any], say: Any) -> int:
    from common import show, verbs

    tier = options.tier or "smoke"
    if options.on == "slurm":
        _for_cluster(options)
        sent = verbs.submit(options.target, options.profile, tier, *asked, dry=options.dry_run)
        if not options.wait:
            say(sent, show.submitted)
            return 0
        print(show.submitted(sent), file=sys.stderr)
        result = verbs.wait(options.target, tier, *asked, quiet=options.json)
    else:
        given = [f"--{name}" for name in ("profile", "wait", "dry_run") if getattr(options, name)]
        if given:
            raise Problem(f"{', '.join(given).replace('_', '-')} goes with --on slurm only. See: replicate plan.")
        result = verbs.run(options.target, tier, *asked, _settings(options), options.json)
    say(result, show.outcome)
    if result["stopped"]:
        return 130
    return 1 if result["failed"] or result["elsewhere"] or result["undrawn"] else 0


def _for_cluster(options: argparse.Namespace) -> None:
    """Nothing. Errors: Problem for options that a profile decides."""
    if options.workers is not None or options.device != "auto" or options.together != "auto":
        raise Problem(
            "--workers, --device and --together are of this machine; on a cluster the profile decides (workers, device), and "
            "small runs are carried out together."
        )
    if options.wait and options.dry_run:
        raise Problem("--wait and --dry-run do not go together: nothing is submitted that one could wait for.")


def _data(options: argparse.Namespace, say: Any) -> int:
    from common import show
    from common.streams import data

    if options.action == "list":
        if options.name:
            raise Problem(
                f"replicate data list shows all data sets and takes no name; see replicate data check {options.name}."
            )
        say(data.listing(), show.data_sets)
        return 0
    if not options.name:
        raise Problem(
            f"replicate data {options.action} needs the name of a data set. Known: {', '.join(data.names())}."
        )
    if options.action == "get":
        data.get(options.name)
    say(data.check(options.name), show.paths)
    return 0


if __name__ == "__main__":
    sys.exit(main())
