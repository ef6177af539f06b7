/*
 * initguid.h - what is declared with DEFINE_GUID after this is made here. SPDX-License-Identifier: MIT
 */
#ifndef INITGUID
#define INITGUID
#endif
#include "guiddef.h"
