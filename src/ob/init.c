/*
 * init.c - starting, stopping and validating the object layer. SPDX-License-Identifier: MIT
 *
 * Order: handle tables, then the directories, then the registry (which is named in the root). Shutdown closes every handle
 * before it empties the namespace, so that objects are deleted by their last reference and not under a holder.
 */
#include "ob/obp.h"

NTSTATUS ObInitSystem(VOID)
{
    NTSTATUS Status = ObpInitHandles();
    if (NT_SUCCESS(Status))
        Status = ObpInitNames();
    if (NT_SUCCESS(Status))
        Status = CmpInitRegistry();
    if (NT_SUCCESS(Status))
        Status = ObpInitMemoryEvents();
    return Status;
}

VOID ObShutdownSystem(VOID)
{
    ObpShutdownMemoryEvents();
    ObpShutdownHandles();
    CmpShutdownRegistry();
    ObpShutdownNames();
}

const CHAR *ObpValidate(VOID)
{
    const CHAR *Broken = ObpValidateHandles();
    return Broken ? Broken : ObpValidateNames();
}
