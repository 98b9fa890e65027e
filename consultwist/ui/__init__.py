"""The web user interface: plain files, served by `consultwist.http.ui`."""
