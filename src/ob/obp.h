/*
 * obp.h - what the files of src/ob share among themselves. SPDX-License-Identifier: MIT
 */
#pragma once
#include "ob/ob.h"

/* directory.c: takes a dying or closed object out of its directory; the permanent name's reference is the caller's. */
VOID ObpForgetName(POB_HEADER Header);
VOID ObpForgetIdleName(POB_HEADER Header); /* unless it is permanent or has handles */
NTSTATUS ObpInitNames(VOID);
VOID ObpShutdownNames(VOID);
const CHAR *ObpValidateNames(VOID);

/* handle.c */
NTSTATUS ObpInitHandles(VOID);
VOID ObpShutdownHandles(VOID);
const CHAR *ObpValidateHandles(VOID);

/* registry.c */
NTSTATUS CmpInitRegistry(VOID);
/* The events of \KernelObjects that tell of memory (event.c). */
NTSTATUS ObpInitMemoryEvents(VOID);
VOID ObpShutdownMemoryEvents(VOID);
VOID CmpShutdownRegistry(VOID);
