"""`rounds-hub`: the coordinator's command line, as a table of its commands."""

from shared.terminal.command_table import commands, group, program_of

study = program_of(
    "Offer studies to the sites, submit them to the running hub, and see them through.",
    *commands("server.cli.studies.offers:app", {
        "offer": "Write one file with the study as it will be asked, its code and its weights, sealed by this hub.",
        "accept": "Take in a hospital's answer: its signatures on the code, and its approval of the study.",
        "offers": "List what was offered, which sites approved it and when, and whose answer has not come.",
    }),
    *commands("server.cli.studies.study:app", {
        "submit": "Submit a prepared study as a new one; the name printed is what the other commands take.",
        "status": "Show how a study stands, what each site sent and who refused and why; without a name, all studies.",
        "stop": "Stop a study; its sites' spends stay, and `resume` goes on where it was.",
        "resume": "Resume a stopped or failed study from its checkpoint: the same study, charged to no site twice.",
    }),
    *commands("server.cli.studies.study_logs:app", {
        "logs": "Print what the study's last run says, until that run is over; the exit status is the study's.",
    }),
)  # fmt: skip
app = program_of(
    "The hub of Teaching Rounds: open a federation, use a released student, look at runs, make their reports.",
    *commands("server.cli.studies.predict:app", {
        "predict": "Classify images, with a map picture each and the gate's verdict.",
    }),
    *commands("server.cli.studies.plan:app", {
        "plan": "Forecast what a study can learn under its privacy, and what would make it learn more.",
    }),
    *commands("server.cli.studies.report:app", {
        "report": "Measure and audit a run, and write (again) its summary, report, model card and student.",
    }),
    *commands("server.cli.studies.runs:app", {
        "runs": "List runs, newest last: status, verdict, test AUC, and the most any site stated to have spent on one "
            "patient.",
    }),
    *commands("server.cli.federation:app", {
        "init": "Make the federation's CA, the hub's certificate for the names given, and the secrets.",
        "invite": "Write FEDERATION.json for a site, and show the words to read out to it.",
        "renew": "Give the hub a new key and certificate; names stay as they are unless given. Then start the "
            "SuperLink anew.",
        "backup": "Write CA, certificate, secrets and the list of sites into one sealed file.",
        "restore": "Put a hub back and check it. Sites removed since the backup must be removed again.",
    }),
    *commands("server.cli.admission:app", {
        "admit": "Let a site in: compare its fingerprint, write it down, register its node key at the running "
            "SuperLink.",
        "remove": "Put a site out, at once where the SuperLink runs here; its node key never comes back.",
        "register": "Bring the running SuperLink's registrations in line with the admitted sites; safe to repeat.",
        "sites": "List all sites ever admitted or invited: who is connected, what each approved, what is missing, "
            "whose turn it is.",
    }),
    *commands("server.cli.services:app", {
        "serve": "Run the hub until SIGTERM: SuperLink and SuperExec on the loopback, nginx before them, audit feed "
            "and dashboard.",
    }),
    *commands("server.cli.health:app", {
        "healthy": "Say whether all of the hub's processes run and the SuperLink answers; exit status 1 where not.",
    }),
    group("study", "server.cli.program:study", "Offer studies to the sites, submit them to the running hub, and see "
        "them through."),
    group("store", "server.cli.audit.store:app", "The audit store: proof that it is whole, and its upkeep."),
    group("feed", "server.cli.audit.feed:app", "The audit feed: studies' records on their way to the hub."),
    group("code", "server.cli.code:code_app", "Offer app bundles to the hospitals' nodes, with the hospitals' "
        "signatures."),
    group("registry", "server.cli.registry:app", "The service that the SuperLink takes bundles from."),
    group("people", "server.cli.audit.people:app", "People who may use the dashboard."),
    group("token", "server.cli.audit.tokens:app", "Tokens of the read-only API."),
    group("dashboard", "server.cli.audit.dashboard:app", "The audit dashboard."),
)  # fmt: skip
