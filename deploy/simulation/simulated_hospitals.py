"""Make simulated hospitals on one machine: divide a data source into public sets and sites, once.

In come a study and a description of the hospitals (`deploy/sites/<name>.yaml`); out comes a workspace with
`public/*.csv`, `data/<site>.csv` and `sites/<site>.yaml`, as real hospitals would write their own. The hub of real
hospitals has public images alone: then no hospital is made, and the workspace holds public sets and nothing else.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from deploy.simulation.duplicate_pictures import copies_told
from deploy.simulation.phantoms import STYLES, Marker, SitePlan, draw_patient, write_phantoms
from server.public_data.images import Progress
from server.public_data.preparation import PUBLIC_SETS, TeacherFit
from server.rounds.feasibility import MadeSite, calibrated, check_made_sites, check_test_patients
from shared.config.files import parsed_as, read_study, read_yaml, write_yaml
from shared.config.site import Cap, SiteConfig, check_declared, check_delta, check_site_name
from shared.config.site_data import DicomData, SiteData
from shared.config.study import StudyConfig, Task
from shared.config.values import Setting
from shared.data.image_problems import advice
from shared.data.images import check_images, refused_images
from shared.data.medmnist import made_sites
from shared.data.patients import Patient
from shared.data.public_division import Division, divide_public
from shared.data.sources import describe_source, patients_by_site, read_public
from shared.data.tables.manifest import write_manifest
from shared.errors import ConfigError, DataError

_HERE = Path(__file__).parents[1]
_DRAWN_PATIENTS = 2  # the second has an opacity where half of the patients do
_DRAWN_PX = 32
_ALL_PUBLIC = ""  # the one group of patients where no hospital is made; no site has this name


class MadeSites(Setting):
    """Sites made by a hash where the data has none."""

    num_sites: int = Field(4, ge=2)
    seed: int = 0
    skew: float = Field(0.5, ge=0)


class PhantomHospital(Setting):
    """One made hospital: numbers of patients, acquisition style (a name in `phantoms.STYLES`), marker."""

    style: str
    train: int = Field(ge=0)
    val: int = Field(0, ge=0)
    test: int = Field(0, ge=0)
    prevalence: float = Field(0.5, ge=0, le=1)
    max_images: int = Field(2, ge=1, le=8)
    marker: float = Field(0.0, ge=0, le=1, description="share of films with a burned-in letter")
    amplitude: tuple[float, float] = Field((0.25, 0.5), description="peak of an opacity over the grey range")

    @model_validator(mode="after")
    def _style_is_known(self) -> Self:
        if self.style not in STYLES:
            raise ValueError(f"style must be one of {', '.join(STYLES)}")
        return self


class Federation(Setting):
    """How the hospitals of a simulation come about; `declared_patients` are typed, never counted."""

    title: str
    public_only: bool = Field(
        False, description="all patients are public and no hospital is made, for the hub of real ones"
    )
    phantoms: dict[str, PhantomHospital] = Field(default_factory=dict)
    label_map: dict[str, str] = Field(default_factory=dict)
    dicom: DicomData | None = None
    leave_out_sites: tuple[str, ...] = ()
    made_sites: MadeSites | None = None
    public_site: str | None = None
    cohort_fraction: float = Field(0.3, ge=0, le=1)
    reference_fraction: float = Field(
        0.5, gt=0, lt=1, description="share of test patients kept for the audit"
    )
    declared_patients: dict[str, int] = Field(default_factory=dict)
    cap_epsilon: float = Field(10.0, gt=0)
    cap_delta: float = Field(1e-5, gt=0, lt=1)
    teacher_epochs: int = Field(12, ge=1)
    teacher_learning_rate: float = Field(2e-3, gt=0)
    teacher_pretrained: bool = Field(
        False, description="begin with timm's published weights, fetched from the Hugging Face hub"
    )
    notes: tuple[str, ...] = ()
    attribution: str = ""

    @model_validator(mode="after")
    def _made_or_public(self) -> Self:
        if self.public_only == bool(self.declared_patients):
            raise ValueError(
                "declared_patients must name the simulated hospitals, unless public_only is true, and then none"
            )
        return self

    @property
    def teacher_fit(self) -> TeacherFit:
        """How the teacher is fitted to the public cohort."""
        return TeacherFit(self.teacher_epochs, self.teacher_learning_rate, self.teacher_pretrained)


@dataclass(frozen=True)
class Recipe:
    """A study and its simulated hospitals, found by the name of the data."""

    name: str
    study: StudyConfig
    federation: Federation
    source: Path | None
    as_filed: StudyConfig | None = None  # the study as its file has it, where `--set` changed it

    @property
    def filed(self) -> StudyConfig:
        """The study of the file: what a workspace tells others."""
        return self.as_filed or self.study


def find_recipe(
    data: Path | None, study: Path | None, sites: Path | None, *, may_be_public: bool = False
) -> Recipe:
    """Find the recipe for a data source by its name, or take the files given; `ConfigError` when unknown.

    With `may_be_public`, data and a study of one's own that name no hospitals are public images alone.
    """
    name = "phantoms" if data is None else data.resolve().stem
    study_path = study or _HERE / "studies" / f"{name}.yaml"
    sites_path = sites or _HERE / "sites" / f"{name}.yaml"
    is_public = may_be_public and None not in (data, study) and sites is None and not sites_path.is_file()
    needed = ((study_path, "STUDY"), *(() if is_public else ((sites_path, "SITES"),)))
    for path, option in needed:
        if not path.is_file():
            known = ", ".join(sorted(one.stem for one in (_HERE / "studies").glob("*.yaml")))
            raise ConfigError(
                f"DATA is {name!r}: {path.name} does not exist; known are {known}, or give {option}=file.yaml "
                "(see docs/data.md)"
            )
    if data is not None and not data.exists():
        raise ConfigError(f"DATA is {str(data)!r}: no such file or folder; check the path")
    federation = (
        Federation(title=f"{name}, public images alone", public_only=True)
        if is_public
        else parsed_as(Federation, read_yaml(sites_path), sites_path.name)
    )
    return Recipe(name, read_study(study_path), federation, data)


def build_workspace(
    recipe: Recipe, workspace: Path, *, seed: int, progress: Progress, to_run: bool = False
) -> tuple[str, ...]:
    """Write public sets and site files; returns the notes that every report of this data must show.

    Refuses public images and masks that cannot be used before a teacher is fitted on them, and with `to_run` test
    patients by whom no student can be judged; `DataError`.
    """
    check_recipe(recipe)
    task, federation = recipe.study.task, recipe.federation
    source = recipe.source or _phantoms(federation, workspace / "data", task, seed, progress)
    notes = (
        *_made_notes(recipe, seed),
        *federation.notes,
        *describe_source(source, task, federation.dicom),
    )
    patients, told = _patients(source, federation, task)
    if federation.public_only:
        patients = {_ALL_PUBLIC: [one for some in patients.values() for one in some]}
    division = divide_public(
        patients,
        cohort_fraction=federation.cohort_fraction,
        public_site=_ALL_PUBLIC if federation.public_only else federation.public_site,
        reference_fraction=federation.reference_fraction,
    )
    if to_run:
        check_test_patients(division.test, task)
    for site in division.sites:  # names become file names
        check_site_name(site, "the data, and in declared_patients of the sites file")
    told = (*told, *copies_told(division))
    check_public_images(division, task, progress)
    _write(division, recipe, workspace)
    return (*notes, *told)


def check_recipe(recipe: Recipe) -> None:
    """Refuse what the declared sites would refuse, before anything is drawn or trained; `ConfigError`."""
    federation = recipe.federation
    for site, declared in federation.declared_patients.items():
        check_site_name(site, "declared_patients of the sites file, and in the data")
        check_declared(recipe.study, declared, site)
        try:
            check_delta(federation.cap_delta, declared, "cap_delta")
        except ValueError as error:
            raise ConfigError(f"site {site}: {error}") from error
    calibrated(recipe.study)


def check_can_run(recipe: Recipe) -> None:
    """Refuse a study that its simulated hospitals could not bring to its end, before anything is made; `ConfigError`.

    A workspace may be prepared for other hospitals than these.
    """
    federation = recipe.federation
    if federation.public_only:
        raise ConfigError(
            f"SITES: {federation.title} makes no hospital, so nothing can be simulated; `make prepare` is for real "
            "hospitals, or give SITES=file.yaml"
        )
    cap = Cap(epsilon=federation.cap_epsilon, delta=federation.cap_delta)
    sites = [MadeSite(name, declared, cap) for name, declared in federation.declared_patients.items()]
    check_made_sites(recipe.study, sites)  # at once; what follows takes seconds
    check_recipe(recipe)
    check_made_sites(calibrated(recipe.study), sites)


def check_public_images(division: Division, task: Task, progress: Progress) -> None:
    """Refuse a public set with an image or mask that cannot be used: the audit would fail on it after all rounds.

    `DataError` with one sentence for each such set.
    """
    sentences = []
    for done, name in enumerate(PUBLIC_SETS, start=1):
        patients = getattr(division, name)
        problems = check_images(patients, task)
        if problems.kinds:
            told = "; ".join(advice(kind, count) for kind, count in problems.kinds.items())
            _, first = next(refused_images(patients, task))
            sentences.append(f"public {name} set, {problems.num_images} images: {told} (first: {first})")
        progress("public images", done, len(PUBLIC_SETS))
    if sentences:
        raise DataError(". ".join(sentences))


def _made_notes(recipe: Recipe, seed: int) -> Iterator[str]:
    """Say what a simulation made of the data, from the numbers that it was made by."""
    federation = recipe.federation
    if federation.public_only:
        yield "All images are public; no hospital is simulated, the federation's own take part."
    if recipe.source is None:
        yield f"Images are procedural phantoms, made by seed {seed}; nothing here is a clinical result."
    if (made := federation.made_sites) is not None:
        yield (
            f"The {made.num_sites} sites are made, not found: patients are dealt to them by seed {made.seed} with "
            f"label skew {made.skew:g}."
        )
    yield (
        f"About {federation.reference_fraction:.0%} of the test patients are kept for the audit; figures come from the "
        "others."
    )


def _patients(
    source: Path, federation: Federation, task: Task
) -> tuple[Mapping[str, list[Patient]], tuple[str, ...]]:
    """Return patients by site, and a sentence on everything that reading them passed over."""
    found = read_public(source, task, label_map=federation.label_map, dicom=federation.dicom)
    patients = found.patients
    if federation.made_sites is not None:
        made = federation.made_sites
        patients = made_sites(patients, made.num_sites, made.seed, made.skew)
    by_site = patients_by_site(patients)
    left = federation.leave_out_sites
    return {site: some for site, some in by_site.items() if site not in left}, found.told.sentences()


def _write(division: Division, recipe: Recipe, workspace: Path) -> None:
    task = recipe.study.task
    for name in PUBLIC_SETS:
        write_manifest(getattr(division, name), workspace / "public" / f"{name}.csv", task)
    (workspace / "sites").mkdir(parents=True, exist_ok=True)
    for site, patients in division.sites.items():
        manifest = workspace / "manifests" / f"{site}.csv"
        write_manifest(patients, manifest, task)
        write_yaml(workspace / "sites" / f"{site}.yaml", _site(site, manifest, recipe, workspace))


def _site(site: str, manifest: Path, recipe: Recipe, workspace: Path) -> SiteConfig:
    federation = recipe.federation
    if site not in federation.declared_patients:
        raise ConfigError(
            f"declared_patients: has no number for site {site}; type one in the sites file (never a count of the data)"
        )
    return SiteConfig(
        name=site,
        data=SiteData(source=manifest.resolve()),
        declared_patients=federation.declared_patients[site],
        cap=Cap(epsilon=federation.cap_epsilon, delta=federation.cap_delta),
        show_cap=True,
        allow_releases=("enrolment", "update", "ledger_statement", "status", "error", "evaluation"),
        approved_studies="any-in-simulation",
        weights_dir=(workspace / "weights").resolve(),
        state_dir=(workspace / "state" / site).resolve(),
        head_file=(workspace / "heads" / f"{site}.head").resolve(),
    )


def accept_weights(workspace: Path, study: StudyConfig) -> None:
    """Let simulated hospitals accept the prepared weights as public: they were made without their patients."""
    digests = [study.models.teacher.sha256, study.models.initial_sha256]
    for path in sorted((workspace / "sites").glob("*.yaml")):
        site = SiteConfig.model_validate(read_yaml(path))
        accepted = {digest: "public" for digest in digests if digest is not None}
        write_yaml(path, SiteConfig.model_validate(site.model_dump() | {"accepted_digests": accepted}))


def drawing_digest(federation: Federation, task: Task) -> str:
    """Return a digest of what the phantoms look like: the plans, and a few patients of each site drawn small.

    The plans hold each site's style; the pictures tell when the drawing itself has changed.
    """
    plans = phantom_plans(federation, task)
    digest = hashlib.sha256(repr(plans).encode())
    for plan in plans:
        for number in range(_DRAWN_PATIENTS):
            for picture in draw_patient(plan, "train", number, seed=0, size=_DRAWN_PX)[1]:
                for array in (picture.pixels, picture.lungs, picture.lesion):
                    digest.update(array.tobytes())
    return digest.hexdigest()


def phantom_plans(federation: Federation, task: Task) -> list[SitePlan]:
    """Return what is drawn for each made hospital."""
    return [
        SitePlan(
            name,
            {"train": hospital.train, "val": hospital.val, "test": hospital.test},
            STYLES[hospital.style],
            prevalence=hospital.prevalence,
            marker=Marker(probability=dict.fromkeys(task.classes, hospital.marker))
            if hospital.marker
            else None,
            amplitude=hospital.amplitude,
            max_images=hospital.max_images,
        )
        for name, hospital in federation.phantoms.items()
    ]


def _phantoms(federation: Federation, folder: Path, task: Task, seed: int, progress: Progress) -> Path:
    def report(done: int, total: int) -> None:
        progress("phantoms", done, total)

    return write_phantoms(
        folder,
        sites=phantom_plans(federation, task),
        seed=seed,
        size=task.image_size,
        progress=report,
        num_processes=2,
    )
