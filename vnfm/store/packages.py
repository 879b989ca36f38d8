"""VNF packages on record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from vnfm.model.codec import decode, encode
from vnfm.model.lcm import InstantiationState
from vnfm.model.package import Finding, OnboardingState, OperationalState, UsageState, VnfPackage
from vnfm.model.problem import Problem, problem
from vnfm.model.vnfd import Vnfd
from vnfm.store import tables as t
from vnfm.store.database import Database
from vnfm.store.group import tell
from vnfm.store.refs import find
from vnfm.store.rows import announce, package_of, problem_or_none


@dataclass(frozen=True, slots=True)
class Onboarded:
    """A package with what it brought: its VNFD, and images by their path in the package."""

    package: VnfPackage
    vnfd: Vnfd
    images: Mapping[str, str]  # path in the package -> SHA-256 of the blob
    error: Problem | None = None


KEPT_CONTENTS = 64  # of packages, in memory
SHOWN_USERS = 8


@dataclass(frozen=True, slots=True)
class PackageChanged:
    """Told when it may have become usable, or may no longer be."""


class PackageStore:
    """Rows of `package`."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._contents: dict[str, Onboarded] = {}
        self._usable: dict[tuple[str, str], Onboarded] = {}  # by tenant and VNFD id
        self._changes = 0
        database.listeners.append(self._hear)

    async def create(self, package_id: str, tenant: str, request_id: str, at: datetime) -> VnfPackage:
        """An empty package resource (SOL005 9.5.2.4). The same request id again gives the same package."""

        def work(c: Connection) -> VnfPackage:
            if request_id:
                known = c.execute(
                    select(t.package).where(t.package.c.tenant == tenant, t.package.c.request_id == request_id)
                ).mappings()
                if row := known.first():
                    return package_of(row, False)
            c.execute(
                insert(t.package).values(
                    id=package_id,
                    tenant=tenant,
                    onboarding_state=OnboardingState.CREATED.value,
                    operational_state=OperationalState.DISABLED.value,
                    request_id=request_id or None,
                )
            )
            return _one(c, tenant, package_id)

        return await self._db.write(work)

    async def get(self, tenant: str, ref: str) -> VnfPackage:
        """By id, VNFD id, or a beginning of the id."""
        return await self._db.read(lambda c: _one(c, tenant, ref))

    async def error_of(self, tenant: str, ref: str) -> Problem | None:
        """Why onboarding failed."""
        return await self._db.read(lambda c: problem_or_none(_row(c, tenant, ref)["error"]))

    async def errors(self, tenant: str) -> dict[str, Problem]:
        """Why onboarding failed, by the id of each package of which it did."""
        failed = (t.package.c.tenant == tenant, t.package.c.onboarding_state == OnboardingState.ERROR.value)
        query = select(t.package.c.id, t.package.c.error).where(*failed)

        def work(c: Connection) -> dict[str, Problem]:
            found = ((row.id, problem_or_none(row.error)) for row in c.execute(query))
            return {package_id: error for package_id, error in found if error is not None}

        return await self._db.read(work)

    async def all(self, tenant: str) -> list[VnfPackage]:
        """Every package of the tenant."""

        def work(c: Connection) -> list[VnfPackage]:
            used = _used(c)
            rows = c.execute(select(t.package).where(t.package.c.tenant == tenant)).mappings()
            return [package_of(r, r["id"] in used) for r in rows]

        return await self._db.read(work)

    async def uploading(self, tenant: str, package_id: str, policy: str) -> None:
        """CREATED or ERROR -> UPLOADING. Raises ProblemError `conflict`."""
        await self._move(
            tenant,
            package_id,
            (OnboardingState.CREATED, OnboardingState.ERROR),
            OnboardingState.UPLOADING,
            {"digest_policy": policy, "error": None},
        )

    async def processing(self, tenant: str, package_id: str, blob_sha256: str) -> None:
        """UPLOADING -> PROCESSING."""
        values = {"blob_sha256": blob_sha256}
        await self._move(tenant, package_id, (OnboardingState.UPLOADING,), OnboardingState.PROCESSING, values)

    async def onboarded(
        self,
        tenant: str,
        package_id: str,
        vnfd: Vnfd,
        images: Mapping[str, str],
        findings: Sequence[Finding],
        at: datetime,
    ) -> VnfPackage:
        """PROCESSING -> ONBOARDED, ENABLED. Raises ProblemError `already-exists` for a VNFD id that the tenant has."""

        def work(c: Connection) -> VnfPackage:
            try:
                c.execute(
                    update(t.package)
                    .where(t.package.c.id == package_id)
                    .values(
                        onboarding_state=OnboardingState.ONBOARDED.value,
                        operational_state=OperationalState.ENABLED.value,
                        vnfd_id=vnfd.id,
                        vnfd=encode(vnfd),
                        images=dict(images),
                        findings=encode(list(findings)),
                    )
                )
            except IntegrityError as error:
                raise already_onboarded(vnfd.id) from error
            tell(c, PackageChanged())
            announce(c, tenant, at, "VnfPackageOnboardingNotification", {"vnf_pkg_id": package_id, "vnfd_id": vnfd.id})
            return _one(c, tenant, package_id)

        return await self._db.write(work)

    async def failed(self, tenant: str, package_id: str, error: Problem, findings: Sequence[Finding]) -> None:
        """-> ERROR; nothing of the content is kept."""
        await self._db.write(
            lambda c: c.execute(
                update(t.package)
                .where(t.package.c.id == package_id, t.package.c.tenant == tenant)
                .values(
                    onboarding_state=OnboardingState.ERROR.value,
                    error=encode(error),
                    findings=encode(list(findings)),
                    blob_sha256="",
                )
            )
        )

    async def interrupted(self) -> list[tuple[str, str, str, str, str]]:
        """(tenant, id, state, blob, policy) of packages that a killed manager was working on."""
        states = (OnboardingState.UPLOADING.value, OnboardingState.PROCESSING.value)
        query = select(t.package).where(t.package.c.onboarding_state.in_(states))

        def work(c: Connection) -> list[tuple[str, str, str, str, str]]:
            return [
                (r["tenant"], r["id"], r["onboarding_state"], r["blob_sha256"], r["digest_policy"])
                for r in c.execute(query).mappings()
            ]

        return await self._db.read(work)

    async def change(self, tenant: str, ref: str, state: OperationalState, at: datetime) -> VnfPackage:
        """ENABLED <-> DISABLED (SOL005 9.5.2.2). Raises ProblemError `conflict` unless ONBOARDED."""

        def work(c: Connection) -> VnfPackage:
            row = _row(c, tenant, ref)
            if row["onboarding_state"] != OnboardingState.ONBOARDED:
                raise problem("conflict", f"package {row['id']} is {row['onboarding_state']}, not ONBOARDED")
            c.execute(update(t.package).where(t.package.c.id == row["id"]).values(operational_state=state.value))
            tell(c, PackageChanged())
            announce(
                c, tenant, at, "VnfPackageChangeNotification",
                {"vnf_pkg_id": row["id"], "operational_state": state.value},
            )  # fmt: skip
            return _one(c, tenant, row["id"])

        return await self._db.write(work)

    async def delete(self, tenant: str, ref: str, at: datetime) -> None:
        """Raises ProblemError `conflict` while ENABLED or IN_USE."""

        def work(c: Connection) -> None:
            package = _one(c, tenant, ref)
            if package.operational_state is OperationalState.ENABLED:
                raise problem(
                    "conflict",
                    f"package {package.id} is ENABLED: `vnfm package disable {package.id[:8]}` first",
                    instance=package.id,
                )
            if package.usage_state is UsageState.IN_USE:
                detail = f"package {package.id} is IN_USE by {_users(c, package.id)}: delete these first"
                raise problem("conflict", detail, instance=package.id)
            c.execute(delete(t.package).where(t.package.c.id == package.id))
            tell(c, PackageChanged())
            announce(
                c, tenant, at, "VnfPackageChangeNotification", {"vnf_pkg_id": package.id, "change_type": "PKG_DELETE"}
            )

        await self._db.write(work)

    async def by_vnfd(self, tenant: str, vnfd_ids: Sequence[str]) -> dict[str, Onboarded]:
        """Usable packages (ONBOARDED and ENABLED) by VNFD id; those that are missing are missing."""
        known = {v: self._usable.get((tenant, v)) for v in vnfd_ids}
        at_hand = {v: package for v, package in known.items() if package is not None}
        if len(at_hand) == len(known):
            return at_hand
        usable = (
            t.package.c.tenant == tenant,
            t.package.c.vnfd_id.in_(list(vnfd_ids)),
            t.package.c.onboarding_state == OnboardingState.ONBOARDED.value,
            t.package.c.operational_state == OperationalState.ENABLED.value,
        )

        def work(c: Connection) -> dict[str, Onboarded]:
            found = {r.vnfd_id: r.id for r in c.execute(select(t.package.c.id, t.package.c.vnfd_id).where(*usable))}
            return {vnfd_id: self._content(c, package_id) for vnfd_id, package_id in found.items()}

        changes = self._changes
        read = await self._db.read(work)
        if changes == self._changes:  # else what was read may be of before
            self._usable.update(((tenant, vnfd_id), package) for vnfd_id, package in read.items())
        return read

    def _hear(self, fact: object) -> None:
        if isinstance(fact, PackageChanged):
            self._changes += 1
            self._usable.clear()

    async def by_id(self, tenant: str, package_ids: Sequence[str]) -> list[Onboarded]:
        """ONBOARDED ones, disabled or not: of what runs from them."""
        mine = (
            t.package.c.tenant == tenant,
            t.package.c.id.in_(list(package_ids)),
            t.package.c.onboarding_state == OnboardingState.ONBOARDED.value,
        )
        return await self._db.read(
            lambda c: [self._content(c, i) for i in c.scalars(select(t.package.c.id).where(*mine)).all()]
        )

    def _content(self, c: Connection, package_id: str) -> Onboarded:
        """What a usable package brought never changes: it is read once, and kept for the next VNF of its kind."""
        known = self._contents.get(package_id)
        if known is None:
            row = c.execute(select(t.package).where(t.package.c.id == package_id)).mappings().one()
            known = Onboarded(package_of(row, False), decode(Vnfd, row["vnfd"]), row["images"])
            if len(self._contents) >= KEPT_CONTENTS:
                self._contents.clear()
            self._contents[package_id] = known
        return known

    async def vnfd(self, tenant: str, ref: str) -> Vnfd | None:
        """The VNFD of a package; None before it is onboarded."""

        def work(c: Connection) -> Vnfd | None:
            row = _row(c, tenant, ref)
            return decode(Vnfd, row["vnfd"]) if row["vnfd"] else None

        return await self._db.read(work)

    async def content(self, tenant: str, ref: str) -> tuple[Vnfd, str]:
        """The VNFD of an onboarded package and the SHA-256 of the package itself. Raises ProblemError `conflict`."""

        def work(c: Connection) -> tuple[Vnfd, str]:
            row = _row(c, tenant, ref)
            if row["onboarding_state"] != OnboardingState.ONBOARDED:
                detail = f"package {row['id']} is {row['onboarding_state']}, not ONBOARDED"
                raise problem("conflict", detail, instance=row["id"])
            return decode(Vnfd, row["vnfd"]), str(row["blob_sha256"])

        return await self._db.read(work)

    async def blobs_in_use(self) -> set[str]:
        """Every blob that a package still needs."""

        def work(c: Connection) -> set[str]:
            needed: set[str] = set()
            for row in c.execute(select(t.package.c.blob_sha256, t.package.c.images)):
                needed |= {row.blob_sha256, *row.images.values()}
            return needed - {""}

        return await self._db.read(work)

    async def _move(
        self,
        tenant: str,
        package_id: str,
        allowed: tuple[OnboardingState, ...],
        to: OnboardingState,
        values: Mapping[str, Any],
    ) -> None:
        def work(c: Connection) -> None:
            changed = c.execute(
                update(t.package)
                .where(
                    t.package.c.id == package_id,
                    t.package.c.tenant == tenant,
                    t.package.c.onboarding_state.in_([s.value for s in allowed]),
                )
                .values(onboarding_state=to.value, **values)
            )
            tell(c, PackageChanged())
            if changed.rowcount != 1:
                state = _row(c, tenant, package_id)["onboarding_state"]
                raise problem("conflict", f"package {package_id} is {state}", instance=package_id)

        await self._db.write(work)


def already_onboarded(vnfd_id: str) -> Exception:
    """A VNFD id may be onboarded once in a tenant."""
    return problem(
        "already-exists", f"VNFD {vnfd_id} is onboarded already; delete that package first", instance=vnfd_id
    )


def _row(c: Connection, tenant: str, ref: str) -> Any:
    return find(c, t.package, tenant, ref, (t.package.c.vnfd_id,), "package")


def _one(c: Connection, tenant: str, ref: str) -> VnfPackage:
    row = _row(c, tenant, ref)
    return package_of(row, row["id"] in _used(c))


def _used(c: Connection) -> set[str]:
    return set(c.scalars(select(func.distinct(t.vnf_instance.c.package_id)).where(_uses())))


def _users(c: Connection, package_id: str) -> str:
    """The VNF instances that use a package, a few by name."""
    of_it = (t.vnf_instance.c.package_id == package_id, _uses())
    names = list(c.scalars(select(t.vnf_instance.c.name).where(*of_it).order_by(t.vnf_instance.c.name)))
    told = ", ".join(names[:SHOWN_USERS])
    more = f" and {len(names) - SHOWN_USERS} more" if len(names) > SHOWN_USERS else ""
    return f"the VNF instance{'s' if len(names) > 1 else ''} {told}{more}"


def _uses() -> ColumnElement[bool]:
    """Whether an instance uses its package: while it exists (SOL005 9.5.2.5), what a terminated chain left does not."""
    return (
        (t.vnf_instance.c.chain_id == "")
        | (t.vnf_instance.c.instantiation_state == InstantiationState.INSTANTIATED.value)
        | t.vnf_instance.c.id.in_(select(t.op_subject.c.subject_id).where(t.op_subject.c.open))
    )
