/* drive.h - drive C: of the simulated system as a folder of the host (drive.c). SPDX-License-Identifier: MIT */
#pragma once
#include <ntddk.h>

/* Shows Folder to drivers as \??\C:. After IoInitSystem. STATUS_OBJECT_PATH_NOT_FOUND: no such folder. */
NTSTATUS NtmmpMountDrive(const char *Folder);
VOID NtmmpUnmountDrive(VOID);
