/*
 * wdmguid.h - the kernel's own GUIDs. Include initguid.h first to have them in this object; else the library has them.
 * SPDX-License-Identifier: MIT
 */
#ifndef _NTMM_WDMGUID_
#define _NTMM_WDMGUID_
#include "guiddef.h"

/* IRP_MN_QUERY_INTERFACE: a BUS_INTERFACE_STANDARD of the device's bus. Page: GUID_BUS_INTERFACE_STANDARD */
DEFINE_GUID(GUID_BUS_INTERFACE_STANDARD, 0x496B8280, 0x6F25, 0x11D0, 0xBE, 0xAF, 0x08, 0x00, 0x2B, 0xE2, 0x09, 0x2F);
/* The events of IoRegisterPlugPlayNotification for device interfaces. Page: DEVICE_INTERFACE_CHANGE_NOTIFICATION */
DEFINE_GUID(GUID_DEVICE_INTERFACE_ARRIVAL, 0xCB3A4004, 0x46F0, 0x11D0, 0xB0, 0x8F, 0x00, 0x60, 0x97, 0x13, 0x05, 0x3F);
DEFINE_GUID(GUID_DEVICE_INTERFACE_REMOVAL, 0xCB3A4005, 0x46F0, 0x11D0, 0xB0, 0x8F, 0x00, 0x60, 0x97, 0x13, 0x05, 0x3F);
#endif
