"""What is claimed of privacy and what is not, in the same words on report, model card and dashboard."""

NOT_FOR_DIAGNOSIS = (
    "Research software. Not a medical device, not for diagnosis, and not for decisions about any patient."
)
CLAIM = (
    "For each site: (epsilon, delta) differential privacy for adding or removing all records of one patient "
    "identifier at that site, against the server and the other sites, even if they are malicious in every "
    "message (weights, configuration, timing, replays) and see everything sent over all runs."
)
NOT_COVERED = (
    (
        "A person at several hospitals, or under several identifiers, is covered by the sum of what those "
        "identifiers spend, not by one site's figure. Nothing here says that the federation as a whole is "
        "epsilon-private."
    ),
    "What is true of a whole group, or of many patients together, is meant to be learned and is not hidden.",
    (
        "That a hospital takes part, its name, the number of patients it declared and the versions it runs "
        "are known to the hub."
    ),
    (
        "Code is not trusted because the hub sent it: the claim holds for the code that the hospital "
        "approved, on a machine that the hospital controls."
    ),
    "Images of the public cohort, reference and test sets are not protected by this figure.",
)
LATE_REPLIES = (
    "Real sites answer at a fixed time, forecast from public numbers (reply_after_seconds). Where a hospital switches "
    "that off, and in simulations, the arrival time of an answer tells roughly how large a site is."
)
WITHOUT_PRIVACY = (
    "No privacy guarantee holds for this run: privacy was switched off, so updates may reveal patients."
)
IN_SIMULATION = (
    "This was a simulation: no hospital took part, and each site's ledger began with this run. "
    "The figures are the spend of this run alone."
)
IN_KEPT_SIMULATION = (
    "This was a simulation: no hospital took part. The made sites' ledgers were kept from earlier runs, and the "
    "figures are the spend of all of them."
)
LEDGER_WITHOUT_PRIVACY = (
    "No privacy guarantee holds at {sites}: by the site's own ledger it answered without noise, in this run or "
    "before, or used weights that its hospital does not list as accepted, so what left may reveal patients."
)
STATED_BY_SOME = (
    "The ledgers of {stated} confirmed a spend in this run; {silent} let no ledger statement out. For {silent} read "
    "the following as the design's aim, not as a result."
)
UNCONFIRMED = (
    "No site's ledger confirmed a spend in this run: read the following as the design's aim, not as a result."
)
