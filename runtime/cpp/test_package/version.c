#include <stdio.h>

#include "harmonizer.h"

int main(void) { return puts(hz_version()) < 0; }
