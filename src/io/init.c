/*
 * init.c - starting and stopping the I/O layer. SPDX-License-Identifier: MIT
 *
 * Start: the section of physical memory, the Plug and Play manager's driver. Stop: shutdown notifications, then the workers finish
 * what they have, then the nodes and drivers that are left go. Drivers are unloaded before this by whoever loaded them.
 */
#include "io/iopp.h"
#include "ex/work.h"
#include "io/dmap.h"

NTSTATUS IoInitSystem(VOID)
{
    NTSTATUS Status = IopInitSections();
    return NT_SUCCESS(Status) ? IopInitPnp() : Status;
}

VOID IoShutdownSystem(VOID)
{
    IopShutdownDevices();
    ExpDrainWork();
    IopShutdownPnp();
    IopShutdownSections();
    IopShutdownDma();
    ExpDrainWork();
    InitializeListHead(&IopDrivers); /* those that nobody unloaded go with the system's memory */
}

const CHAR *IopValidate(VOID)
{
    const CHAR *Broken = IopValidateDevices();
    return Broken ? Broken : IopValidateIrps();
}
