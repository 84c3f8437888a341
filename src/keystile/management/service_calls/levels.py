"""Access levels: which names of scopes the service's official clients know.

Law: a table and what is left out of it. The clients refuse a whole list of keys for one name that they do not
know, so the others stand in a member of their own (``OtherAccessLevel``), which clients ignore. A test holds
the table equal to the service's document and to what its Python client knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

NONE: Final = "None"
"""The clients' word for no permission: it is never stored."""
_NAMES: Final = """
    ViewAccount ViewContacts ViewForms ViewTemplates ViewCampaigns ViewChannels ViewAutomations ViewSurveys
    ViewSettings ViewBilling ViewSubAccounts ViewUsers ViewFiles ViewReports ModifyAccount ModifyContacts ModifyForms
    ModifyTemplates ModifyCampaigns ModifyChannels ModifyAutomations ModifySurveys ModifyFiles Export SendSmtp SendSMS
    ModifySettings ModifyBilling ModifyProfile ModifySubAccounts ModifyUsers Security ModifyLanguage ViewSupport
    SendHttp Modify2FAEmail ModifySupport ViewCustomFields ModifyCustomFields ModifyWebNotifications ExtendedLogs
    VerifyEmails Modify2FASms ViewVerifyEmails ViewAccessTokens ViewWebNotifications ModifyLandingPages
    ViewLandingPages ModifySuppressions ViewSuppressions ViewDragDropEditor ViewTemplateEditor ViewAITools
    ModifySubscriptionAntiSpam ViewLandingPagesCheckout ModifyLandingPagesCheckout ViewHTMLEditor ModifyAccessTokens
    ViewPaidNewsletters ModifyPaidNewsletters
"""
KNOWN: Final = frozenset(_NAMES.split())


def shown(scopes: Iterable[str]) -> tuple[list[str], list[str]]:
    """The scopes in order: those that clients know, and the others."""
    names = sorted(scopes)
    return [name for name in names if name in KNOWN], [name for name in names if name not in KNOWN]


def meant(names: Iterable[str]) -> tuple[str, ...]:
    """The scopes that a payload's names mean."""
    return tuple(name for name in names if name != NONE)
