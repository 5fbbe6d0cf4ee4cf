"""The operations on backups."""

from __future__ import annotations

from flow_manager_core.models import Role
from flow_manager_core.operations import backup, restore
from flow_manager_core.operations.operation import Operation
from flow_manager_core.requests import BackupContainer, RestoreContainer, VerifyBackup

BACKUP_ROWS = (
    Operation(
        request=BackupContainer,
        role=Role.ADMIN,
        event="container_backed_up",
        run=backup.backup_container,
        verb="backup",
    ),
    Operation(
        request=RestoreContainer,
        role=Role.ADMIN,
        event="container_restored",
        subject=None,
        run=restore.restore_container,
        verb="restore",
    ),
    Operation(
        request=VerifyBackup,
        role=Role.OPERATE,
        event="backup_verified",
        subject=None,
        run=backup.verify_backup,
    ),
)
