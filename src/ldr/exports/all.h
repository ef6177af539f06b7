/*
 * all.h - every list, read twice by border.c. No include guard on purpose. SPDX-License-Identifier: MIT
 */
#include "ldr/exports/ex.h"
#include "ldr/exports/iofn.h"
#include "ldr/exports/ke.h"
#include "ldr/exports/mm.h"
#include "ldr/exports/ob.h"
#include "ldr/exports/ps.h"
#include "ldr/exports/rtl.h"
#include "ldr/exports/rtltable.h"
#include "ldr/exports/section.h"
#include "ldr/exports/seh.h"
#include "ldr/exports/sync.h"
#include "ldr/exports/vm.h"
#include "ldr/exports/zw.h"
#include "ldr/exports/inline.h"
#include "ldr/exports/crt.h"
#include "ldr/exports/special.h"
