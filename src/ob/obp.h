/*
 * obp.h - what the files of src/ob share among themselves. SPDX-License-Identifier: MIT
 */
#pragma once
#include "ob/ob.h"

/* directory.c: takes a dying or closed object out of its directory; the permanent name's reference is the caller's. */
VOID ObpForgetName(POB_HEADER Header);
NTSTATUS ObpInitNames(VOID);
VOID ObpShutdownNames(VOID);
const CHAR *ObpValidateNames(VOID);

/* symlink.c */
PCUNICODE_STRING ObpLinkTarget(PVOID Link);

/* handle.c */
NTSTATUS ObpInitHandles(VOID);
VOID ObpShutdownHandles(VOID);
const CHAR *ObpValidateHandles(VOID);

/* registry.c */
NTSTATUS CmpInitRegistry(VOID);
VOID CmpShutdownRegistry(VOID);

#define OBP_TAG_NAME 0x6d4e624fu /* 'ObNm' */
