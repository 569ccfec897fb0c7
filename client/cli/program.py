"""`rounds-site`: the hospital's command line, as a table of its commands."""

from shared.terminal.command_table import commands, group, program_of

app = program_of(
    "A site of Teaching Rounds: join a federation, check the hospital's data and rules, look into its ledger.",
    *commands("client.cli.forget:app", {
        "forget": "Purge what is kept of a patient, leave the patient out of all later rounds, and say what cannot be "
            "undone.",
    }),
    *commands("client.setup.command:app", {
        "setup": "Look at the images, ask at most eight questions, and fill in site.yaml; nothing leaves this machine.",
    }),
    *commands("client.cli.preview:app", {
        "preview": "Write a page with pictures as the model sees them, counts, outliers and suspected text, for your "
            "eyes only.",
    }),
    *commands("client.cli.check:app", {
        "check": "Check data, weights, rules, machine, ledger, budget and the way to the hub before joining.",
        "refused": "List the files that are not used: kind, tab, path. For a person who looks at them, on this "
            "machine only.",
    }),
    group("ledger", "client.cli.ledger:app", "Look into the ledger: what was spent, and whether it is whole."),
    group("code", "client.cli.code:code_app", "Decide which code of the hub this hospital runs: no other bundle is "
        "let in by its node."),
    group("study", "client.cli.study:study_app", "Decide on studies: a site answers none that its hospital has not "
        "approved."),
    *commands("client.cli.federation:app", {
        "init": "Make the site's keys, a site.yaml to fill in, and NAME.pub for the hub. The private keys never leave.",
        "join": "Believe this hub from now on: compare its fingerprint, keep its CA, fill in `hub` in site.yaml.",
        "backup": "Write keys, rules, ledger, partitions and weights into one sealed file. The head file stays out on "
            "purpose.",
        "restore": "Put a site back; exit status 1 where its ledger is older than the head file knows, for then it "
            "may not go on.",
    }),
    group("keys", "client.cli.federation:keys_app", "The hospital's keys: show their public halves, make new "
        "ones."),
    *commands("client.cli.node:app", {
        "run": "Run the hospital's node until SIGTERM: it dials the hub, and is started again when it dies.",
        "healthy": "Say whether the node runs; exit status 1 where not.",
    }),
)  # fmt: skip
