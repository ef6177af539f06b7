/*
 * pnp.c - the Plug and Play manager. SPDX-License-Identifier: MIT
 *
 */
#include "io/iopp.h"
NTSTATUS IopInitPnp(VOID) { return STATUS_SUCCESS; }
VOID IopShutdownPnp(VOID) {}
NTSTATUS IopAddRootDevice(PDRIVER_OBJECT Driver, const CHAR *HardwareId) { (void)Driver; (void)HardwareId; return STATUS_NOT_IMPLEMENTED; }
VOID IopRemoveDriverNodes(PDRIVER_OBJECT Driver) { (void)Driver; }
VOID IopForgetNode(PDEVICE_OBJECT Device) { (void)Device; }
