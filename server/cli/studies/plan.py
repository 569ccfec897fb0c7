"""`rounds-hub plan`: what a study can learn from so many patients, before any hospital is asked.

In: a study, and numbers that a person types. Out: one table of this study and of what would change it.
"""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.studies.typed_settings import SetOption, typed_settings
from shared.errors import ConfigError
from shared.terminal.command_line import AsJson, examples
from shared.terminal.tables import plain_table, wide_console

if TYPE_CHECKING:
    from shared.privacy.learning_forecast import Forecast

MOST_EPSILON = 100.0  # that a study may ask for
app = typer.Typer()
EXAMPLES = examples(
    "rounds-hub plan deploy/studies/pneumoniamnist.yaml --patients 250 --sites 4",
    "rounds-hub plan study.yaml --patients 1200 --patients 300 --patients 80 --set privacy.epsilon=3",
    "rounds-hub plan study.yaml --patients 1000 --set privacy.trainable=scales --set federation.merge=mean",
)
_COLUMNS = (
    "",
    "sites",
    "patients",
    "noise",
    "break-even",
    "signal/noise",
    "learnt",
    "without noise",
    "verdict",
)
_MEANING = """
noise          of one pass over everybody that would tell as much: sigma / (sample_rate x square root of all steps)
break-even     how many numbers such sites can train before noise is more than what they differ by through chance
signal/noise   length of what patients say over length of the noise, of the mean of all sites over the whole study
learnt         share of what the public cohort leaves open that the sites can settle (readout); below 2 % hopeless
one noise      one noise for the sum of all sites: needs secure aggregation, which is not built; another trust model
The forecast rests on few measurements: on PneumoniaMNIST 28 % was a gain of 0.02 in AUC, 12 % of 0.006 (two draws)."""


@app.command(epilog=EXAMPLES)
def plan(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="a study's YAML file")],
    patients: Annotated[
        list[int],
        typer.Option(help="declared patients of a site; once for all sites alike, or once for each"),
    ],
    sites: Annotated[
        int | None, typer.Option(min=1, help="how many sites; the study's min_sites when not given")
    ] = None,
    set_: SetOption = None,
    as_json: AsJson = False,
) -> None:
    """Forecast what a study can learn under its privacy, and what would make it learn more."""
    from server.studies.resolved_study import asked_study  # noqa: PLC0415 - these load torch and the accountants, which --help does not need
    from shared.messages.traffic_forecast import num_trained, round_traffic  # noqa: PLC0415
    from shared.privacy.learning_forecast import forecast, patients_needed  # noqa: PLC0415

    settings = typed_settings(set_ or [])
    asked = asked_study(study, settings)
    declared = _declared(patients, sites, asked.federation.min_sites)
    trained = num_trained(asked)
    rows: dict[str, Forecast] = {"this study": forecast(asked, declared, trained)}
    rows["4 times the patients"] = forecast(asked, [4 * one for one in declared], trained)
    rows["4 times the sites"] = forecast(asked, declared * 4, trained)
    if asked.privacy.enabled:
        twice = 2 * asked.privacy.epsilon
        if twice <= MOST_EPSILON:
            other = asked_study(study, settings | {"privacy.epsilon": twice})
            if other.privacy.noise_multiplier != asked.privacy.noise_multiplier:  # else the file fixes it
                rows[f"epsilon {twice:g}"] = forecast(other, declared, trained)
        rows["one noise"] = forecast(asked, declared, trained, pooled=True)
    needed = patients_needed(asked, declared, trained)
    traffic = round_traffic(asked, trained)
    if as_json:
        plain = {name: _plain(row) for name, row in rows.items()}
        sent = {"to_site": traffic.to_site_bytes, "from_site": traffic.from_site_bytes}
        typer.echo(json.dumps({"rows": plain, "patients_needed": needed, "bytes_a_round": sent}, indent=1))
        return
    privacy = asked.privacy
    budget = f"epsilon {privacy.epsilon:g} at delta {privacy.delta:g}" if privacy.enabled else "no privacy"
    rules = asked.federation
    typer.echo(
        f"{asked.name}: {budget} a site, noise multiplier {privacy.noise_multiplier or 0:g}, {rules.rounds} rounds of "
        f"{rules.steps} steps at sample_rate {privacy.sample_rate:g}; '{privacy.trainable}' trains {trained:,} numbers"
    )
    wide_console().print(plain_table(_COLUMNS, (_cells(name, row) for name, row in rows.items())))
    typer.echo(_MEANING)
    typer.echo(f"traffic        {traffic}")
    typer.echo(_advice(rows["this study"], needed, privacy.trainable))


def _declared(patients: list[int], sites: int | None, min_sites: int) -> list[int]:
    if any(one < 1 for one in patients):
        raise ConfigError(f"--patients is {min(patients)}, allowed is at least 1")
    if len(patients) == 1:
        return patients * (sites or min_sites)
    if sites is not None and sites != len(patients):
        raise ConfigError(
            f"--sites is {sites} and --patients stands {len(patients)} times; give one number for all, or one a site"
        )
    return patients


def _plain(row: "Forecast") -> dict[str, object]:
    """Return a row for JSON, which has no infinity: null, where nothing is hidden."""
    found = asdict(row) | {"verdict": row.verdict}
    return {name: None if value == math.inf else value for name, value in found.items()}


def _cells(name: str, row: "Forecast") -> tuple[str, ...]:
    return (
        name, str(row.sites), f"{row.patients:,}", f"{row.noise:.2f}", _short(row.break_even),
        _short(row.signal_to_noise), _share(row.learnt), _share(row.learnt_without_noise), row.verdict,
    )  # fmt: skip


def _short(value: float) -> str:
    return "-" if value == math.inf else f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}" if value >= 0.01 else f"{value:.1%}"


def _advice(now: "Forecast", needed: int | None, trainable: str) -> str:
    if now.verdict in {"worth it", "noise is below the signal"}:
        return "Nothing speaks against it."
    less = (
        "" if trainable == "readout" else ", or train a readout (models.readout, privacy.trainable: readout)"
    )
    enough = "no number of patients up to a million" if needed is None else f"{needed:,} patients a site"
    return (
        f"{now.verdict.capitalize()}: the student would stay what the public cohort makes it. At this noise {enough} "
        f"would be enough; else more sites, or a larger epsilon{less}."
    )
