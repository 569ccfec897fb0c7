"""Is anything to be learnt from so many patients under so much noise? Arithmetic of the study and the declared number.

In: the study, what `site.yaml` declares. Out: one finding; no patient is read, and nothing leaves.
"""

from collections.abc import Iterator

from client.readiness.finding import Finding
from shared.config.study import StudyConfig
from shared.messages.traffic_forecast import num_trained
from shared.privacy.learning_forecast import forecast


def learning_findings(study: StudyConfig, declared_patients: int) -> Iterator[Finding]:
    """Say what the study could learn if its least number of sites were all of this one's size."""
    privacy, sites = study.privacy, study.federation.min_sites
    if not privacy.enabled or privacy.noise_multiplier is None:
        return  # without noise nothing is hidden; a study that leaves it open is not yet what will be asked
    found = forecast(study, [declared_patients] * sites, num_trained(study))
    like = f"of {sites} sites of {declared_patients:,} declared patients"
    if found.learnt is None:
        said = (
            f"{like} what '{privacy.trainable}' is told is {found.signal_to_noise:.2g} times its noise, over "
            f"{found.num_trained:,} numbers"
        )
    else:
        said = f"{like} a readout can settle {found.learnt:.1%} of what the public cohort leaves open"
    if found.verdict == "hopeless":
        remedy = "; the spend would buy next to nothing: ask the hub for more sites, a larger epsilon or a smaller set"
        yield Finding("warn", "learning", said + remedy)
    else:
        yield Finding("ok", "learning", said)
