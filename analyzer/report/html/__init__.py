"""Reports as one self-contained HTML page: no network, no other file, the same input gives the same bytes.

``environment`` holds what every page shares (templates, style, script, content security policy), ``page``
is the page of the main job; the other modules turn results into what its templates lay out.
"""
