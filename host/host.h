/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The door of host/: what device models and the machine need of the host.  An event loop on a
 * thread of its own, terminals, sockets, disks, networks, rate limits and the log.  Nothing here
 * knows of a guest.
 */
#ifndef HOST_HOST_H
#define HOST_HOST_H

#include "host/block/block.h"
#include "host/event.h"
#include "host/limit.h"
#include "host/log.h"
#include "host/memory.h"
#include "host/net/net.h"
#include "host/sock.h"
#include "host/thread.h"
#include "host/tty.h"

#endif
