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
    InitializeListHead(&IopDrivers); /* those that nobody unloaded went with the last system's memory; not when it stopped: some
                                      * go after this layer did, when the last handle or section that holds them does */
    NTSTATUS Status = IopInitSections();
    if (NT_SUCCESS(Status))
        Status = IopInitFsRtl();
    return NT_SUCCESS(Status) ? IopInitPnp() : Status;
}

VOID IoShutdownSystem(VOID)
{
    IopShutdownDevices();
    ExpDrainWork();
    IopShutdownPnp();
    IopShutdownSections();
    IopShutdownFsRtl();
    IopShutdownDma();
    ExpDrainWork();
}

const CHAR *IopValidate(VOID)
{
    const CHAR *Broken = IopValidateDevices();
    return Broken ? Broken : IopValidateIrps();
}
