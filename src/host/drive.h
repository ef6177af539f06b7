/* drive.h - drive C: of the simulated system as a folder of the host (drive.c). SPDX-License-Identifier: MIT */
#pragma once
#include <ntddk.h>

/* Shows Folder to drivers as \??\C:. After IoInitSystem. STATUS_OBJECT_PATH_NOT_FOUND: no such folder. */
NTSTATUS NtmmpMountDrive(const char *Folder);
VOID NtmmpUnmountDrive(VOID);
/* Not NULL: NtmmpMountDrive makes a copy of the folder by this name, and shows that. */
extern const char *NtmmpDriveCopy;
/* folder.c: 0; -1: not all of it. To is made. */
int NtmmpCopyFolder(const char *From, const char *To);
/* With all that is in it; nothing if it is not there. */
void NtmmpRemoveFolder(const char *Path);
